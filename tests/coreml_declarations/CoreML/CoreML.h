// The little of Core ML that the bridge uses; see ../README.md.
#pragma once

#import <CoreVideo/CoreVideo.h>
#import <Foundation/Foundation.h>

_Pragma("clang assume_nonnull begin")

    // Devices.
    @protocol MLComputeDeviceProtocol<NSObject>
@end
@interface MLCPUComputeDevice : NSObject <MLComputeDeviceProtocol>
@end
@interface MLGPUComputeDevice : NSObject <MLComputeDeviceProtocol>
@end
@interface MLNeuralEngineComputeDevice : NSObject <MLComputeDeviceProtocol>
@property(readonly) NSInteger totalCoreCount;
@end

// Arrays.
typedef enum MLMultiArrayDataType : NSInteger {
  MLMultiArrayDataTypeDouble = 0x10040,
  MLMultiArrayDataTypeFloat32 = 0x10020,
  MLMultiArrayDataTypeFloat16 = 0x10010,
  MLMultiArrayDataTypeInt32 = 0x20020,
} MLMultiArrayDataType;

@interface MLMultiArray : NSObject
@property(readonly) MLMultiArrayDataType dataType;
@property(readonly) NSArray<NSNumber*>* shape;
@property(readonly) NSArray<NSNumber*>* strides;
@property(readonly, nullable) CVPixelBufferRef pixelBuffer;
- (nullable instancetype)initWithDataPointer:(void*)memory
                                       shape:(NSArray<NSNumber*>*)shape
                                    dataType:(MLMultiArrayDataType)type
                                     strides:(NSArray<NSNumber*>*)strides
                                 deallocator:(void (^_Nullable)(void* memory))deallocator
                                       error:(NSError* _Nullable __autoreleasing* _Nullable)error;
- (instancetype)initWithPixelBuffer:(CVPixelBufferRef)buffer shape:(NSArray<NSNumber*>*)shape;
- (void)getBytesWithHandler:(void(__attribute__((noescape)) ^)(const void* bytes, NSInteger size))
                                handler;
@end

// Inputs and outputs.
@interface MLFeatureValue : NSObject
+ (instancetype)featureValueWithMultiArray:(MLMultiArray*)array;
@property(readonly, nullable) MLMultiArray* multiArrayValue;
@end

@protocol MLFeatureProvider
- (nullable MLFeatureValue*)featureValueForName:(NSString*)name;
@end

@interface MLDictionaryFeatureProvider : NSObject <MLFeatureProvider>
- (nullable instancetype)initWithDictionary:(NSDictionary<NSString*, id>*)features
                                      error:(NSError* _Nullable __autoreleasing* _Nullable)error;
@end

@interface MLPredictionOptions : NSObject
@property(copy) NSDictionary<NSString*, id>* outputBackings;
@end

// Models.
typedef enum MLComputeUnits : NSInteger {
  MLComputeUnitsCPUOnly = 0,
  MLComputeUnitsCPUAndGPU = 1,
  MLComputeUnitsAll = 2,
  MLComputeUnitsCPUAndNeuralEngine = 3,
} MLComputeUnits;

@interface MLModelConfiguration : NSObject
@property MLComputeUnits computeUnits;
@property(copy, nullable) NSString* functionName;
@end

@interface MLModel : NSObject
@property(class, readonly) NSArray<id<MLComputeDeviceProtocol>>* availableComputeDevices;
+ (void)compileModelAtURL:(NSURL*)package
        completionHandler:(void (^)(NSURL* _Nullable compiled, NSError* _Nullable error))handler;
+ (void)loadContentsOfURL:(NSURL*)compiled
            configuration:(MLModelConfiguration*)configuration
        completionHandler:(void (^)(MLModel* _Nullable model, NSError* _Nullable error))handler;
- (void)predictionFromFeatures:(id<MLFeatureProvider>)input
                       options:(MLPredictionOptions*)options
             completionHandler:(void (^)(id<MLFeatureProvider> _Nullable output,
                                         NSError* _Nullable error))handler;
@end

// Compute plans.
@interface MLModelStructureProgramNamedValueType : NSObject
@property(readonly) NSString* name;
@end
@interface MLModelStructureProgramOperation : NSObject
@property(readonly) NSString* operatorName;
@property(readonly) NSArray<MLModelStructureProgramNamedValueType*>* outputs;
@end
@interface MLModelStructureProgramBlock : NSObject
@property(readonly) NSArray<MLModelStructureProgramOperation*>* operations;
@end
@interface MLModelStructureProgramFunction : NSObject
@property(readonly) MLModelStructureProgramBlock* block;
@end
@interface MLModelStructureProgram : NSObject
@property(readonly) NSDictionary<NSString*, MLModelStructureProgramFunction*>* functions;
@end
@interface MLModelStructure : NSObject
@property(readonly, nullable) MLModelStructureProgram* program;
@end
@interface MLComputePlanDeviceUsage : NSObject
@property(readonly) id<MLComputeDeviceProtocol> preferredComputeDevice;
@property(readonly) NSArray<id<MLComputeDeviceProtocol>>* supportedComputeDevices;
@end
@interface MLComputePlanCost : NSObject
@property(readonly) double weight;
@end
@interface MLComputePlan : NSObject
@property(readonly) MLModelStructure* modelStructure;
+ (void)loadContentsOfURL:(NSURL*)compiled
            configuration:(MLModelConfiguration*)configuration
        completionHandler:
            (void (^)(MLComputePlan* _Nullable plan, NSError* _Nullable error))handler;
- (nullable MLComputePlanDeviceUsage*)computeDeviceUsageForMLProgramOperation:
    (MLModelStructureProgramOperation*)operation;
- (nullable MLComputePlanCost*)estimatedCostOfMLProgramOperation:
    (MLModelStructureProgramOperation*)operation;
@end

_Pragma("clang assume_nonnull end")
